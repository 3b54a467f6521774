"""Which of several models is better, how sure that is, and whether the numbers can be believed at all."""
