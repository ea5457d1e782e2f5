"""`kenpin demo`: a whole fleet on this machine, made of the same programs that run on a real one."""
