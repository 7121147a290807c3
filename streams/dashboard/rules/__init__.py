"""What raises an alert before a camera, drawn and changed by people; workers read it again."""
