"""What belongs to one machine: private keys of any format, secrets, ids; and how some are made anew."""
