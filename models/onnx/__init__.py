"""Networks from ONNX files: which elements every layer reads, exactly where a network file can say it."""
