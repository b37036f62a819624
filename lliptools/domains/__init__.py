"""What is known of the units at one place of the network."""
