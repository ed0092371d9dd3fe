"""The guard: personal data and injected instructions, found and redacted."""
