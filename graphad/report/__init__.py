"""What people read: explanations, tables and generated pages."""
