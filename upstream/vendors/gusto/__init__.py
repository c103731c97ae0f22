"""Gusto: approved hours to payroll, employees back."""
