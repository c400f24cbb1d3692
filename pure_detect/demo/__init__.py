"""What works with no network: drawn scenes with exact ground truth, and small networks trained on them."""
