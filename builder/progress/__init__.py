"""What a person or a program sees of long work: tasks, lines, a terminal's last line."""
