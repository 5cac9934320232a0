"""The dual encoder behind the text expert, whose towers embed pictures and captions in one space."""
