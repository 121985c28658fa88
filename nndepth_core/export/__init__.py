"""Networks as ONNX files: writing, quantising and finding them again."""
