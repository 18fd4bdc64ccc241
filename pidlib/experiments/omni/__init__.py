"""Models with vision and audio input: Sensory PID."""
