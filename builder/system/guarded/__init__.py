"""Places that others may tamper with: reached without a link, kept from them, locked where only we can."""
