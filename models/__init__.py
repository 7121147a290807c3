"""Neural networks of Tocsin: torch and numpy only, no Kafka, Redis, Faust or asyncio."""
