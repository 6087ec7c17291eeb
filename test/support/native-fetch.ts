/**
 * Whichever is loaded first, Node's own fetch or undici, sends the requests of both. The published Solana client writes a
 * header that undici refuses behind Node 20's fetch, and the files of one process load them in any order: so Node's comes
 * first, as it does for who uses that client alone.
 */
await fetch('data:,');
