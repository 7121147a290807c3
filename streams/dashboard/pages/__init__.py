"""What people see: pages on NiceGUI, all of whose scripts and fonts come from its own package."""
