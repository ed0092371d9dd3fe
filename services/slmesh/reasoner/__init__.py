"""The LLM reasoning service: engines, prompt assembly and structured output."""
