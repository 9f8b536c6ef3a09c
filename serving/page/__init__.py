"""The page of the local server: who asks, and what each of their interests brings."""
