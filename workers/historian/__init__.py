"""The historian: journals into a store, and questions about it."""
