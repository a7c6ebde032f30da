"""What a home no longer needs: found by kind and age, never what one of its records names."""
