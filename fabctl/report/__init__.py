"""Results to text, JSON, CSV and pictures."""
