"""How tokens are chosen: the loop, its rules, seeds, drafts and reranking. No backend."""
