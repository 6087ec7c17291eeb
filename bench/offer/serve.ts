/** What a measured server tells its parent: first its port, later the processor time that it has used. */
export type ServerMessage = { port: number } | { cpuMs: number };

/** Tells the parent where to send the load, answers its question about processor time, and ends with it. */
export function announce(port: number): void {
  const tell = (message: ServerMessage) => process.send?.(message);
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    tell({ cpuMs: (user + system) / 1000 });
  });
  process.on('disconnect', () => process.exit());
  tell({ port });
}
