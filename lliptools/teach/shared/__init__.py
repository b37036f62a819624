"""What several explorers use: controls, panels, colours, the base of all explorers, and the way to the browser."""
