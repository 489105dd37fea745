"""The inner loop: what adapts (learners), how (rules), and how it is linearised (episode, curvature)."""
