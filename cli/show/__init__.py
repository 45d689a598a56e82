"""What a person sees: lines, tables, progress, figures and pages. It knows the solver and no command."""
