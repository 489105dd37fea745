"""What the studies share that train methods and compare how accurate they become."""
