"""What an alert is: the envelope that goes out."""
