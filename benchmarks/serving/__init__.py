"""Search, merge and whole requests beside faiss, hnswlib and exact search, in one run."""
