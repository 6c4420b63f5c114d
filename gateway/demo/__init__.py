"""The calendar that shows what the gateway does: its built page, and a sign-in that knows no passwords."""
