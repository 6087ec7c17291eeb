import { createSocket } from 'node:dgram';

/** What is known of a name: addresses by family, `silence` where nobody answers; other names do not exist. */
export type Zone = Record<string, { 4?: string[]; 6?: string[] } | 'silence'>;

const TYPES = { 1: 4, 28: 6 } as const;
const NAME_ERROR = 3;

/** A name server on this machine, for names that the test makes up. */
export async function startNameServer(zone: Zone) {
  const asked: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (query, client) => {
    const { name, type, end } = readQuestion(query);
    asked.push(name);
    const known = zone[name];
    if (known === 'silence') return;
    const addresses = known?.[TYPES[type as keyof typeof TYPES]] ?? [];
    const header = Buffer.alloc(12);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8180 | (known ? 0 : NAME_ERROR), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(addresses.length, 6);
    const records = addresses.map(address => record(type, address));
    socket.send(Buffer.concat([header, query.subarray(12, end), ...records]), client.port, client.address);
  });
  await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve));
  return {
    server: `127.0.0.1:${socket.address().port}`,
    asked,
    close: () => new Promise<void>(resolve => socket.close(resolve)),
  };
}

function readQuestion(query: Buffer): { name: string; type: number; end: number } {
  const labels = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.'), type: query.readUInt16BE(at + 1), end: at + 5 };
}

/** An address of the name in the question, good for a minute. */
function record(type: number, address: string): Buffer {
  const bytes =
    type === 1
      ? address.split('.').map(Number)
      : address.split(':').flatMap(group => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]);
  return Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, bytes.length, ...bytes]);
}
