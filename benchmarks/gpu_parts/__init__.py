"""What benchmarks/gpu.py runs, part by part."""
