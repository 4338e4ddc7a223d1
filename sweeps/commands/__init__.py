"""One module a group of commands: each finds what there is to say as plain data, and has a text for it."""
