"""What is asked of a user's network, student or teacher."""
