-- What a message follows from, the most important first: `source/boot/seq` of a message, its topic where it has no stamp, or `tick`.
ALTER TABLE live.messages ADD COLUMN cause VARCHAR[];
