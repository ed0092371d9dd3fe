"""From a user's own file to a service: read it, check it, train on it, write what serves it."""
