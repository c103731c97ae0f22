"""The back door: carries settled changes to vendors' systems and brings theirs back."""
