/** The zero character, which PostgreSQL refuses, and halves of characters, which would come back as another one. */
const UNSTORABLE = /[\0\p{Cs}]/u;

/** Whether the database keeps this text as it is. */
export function isStorableText(text: string): boolean {
  return !UNSTORABLE.test(text);
}
