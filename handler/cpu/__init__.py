"""The networks on a CPU: int8 or fp32, several tokens a step."""
