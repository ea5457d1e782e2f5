"""Side-by-side measurements that anybody can repeat: one command each, one table each."""
