"""The networks on a GPU: half precision, one CUDA graph a step."""
