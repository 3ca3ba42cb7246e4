"""The model that trains a student and its teacher in the same step."""
