// Strict TypeScript wants types of what is imported for its effect alone.
export {};
