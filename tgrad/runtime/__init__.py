"""What is below every op: arrays, memory, launching, random bits."""
