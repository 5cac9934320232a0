"""One evaluation of a product: what is asked for, the answers in the forms of several experts, and their record."""
