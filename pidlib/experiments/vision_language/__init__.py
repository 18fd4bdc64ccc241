"""Vision-language models: decisions, embeddings, layers and fusion."""
