"""Speed and memory of models, also beside the code of their authors."""
