/**
 * The text that a wallet signs to prove itself: EIP-4361, and the same lines with the word Solana. Fields
 * are undefined when their line is absent; which of them are required is decided by whoever reads them.
 */
export interface SiwxMessage {
  account: 'Ethereum' | 'Solana';
  /** As written, perhaps with a scheme and a port. */
  domain: string;
  address: string;
  statement: string | undefined;
  uri: string | undefined;
  version: string | undefined;
  /** The bare reference as written after `Chain ID: `. */
  chainId: string | undefined;
  nonce: string | undefined;
  issuedAt: string | undefined;
  expirationTime: string | undefined;
  notBefore: string | undefined;
  requestId: string | undefined;
  resources: readonly string[] | undefined;
}

const ACCOUNTS = ['Ethereum', 'Solana'] as const;

const INVITATION = ' wants you to sign in with your ';

const opening = (account: SiwxMessage['account']) => `${INVITATION}${account} account:`;

/**
 * Whether a wallet would show the text as a sign-in. True for every text that {@link parseSiwxMessage} reads, and for
 * those that other parsers read.
 */
export function opensLikeSignIn(text: string): boolean {
  const [first = ''] = text.split('\n', 1);
  return first.toLowerCase().includes(INVITATION);
}

/** The lines after the statement, in the only order that is allowed. */
const FIELDS = [
  ['uri', 'URI: '],
  ['version', 'Version: '],
  ['chainId', 'Chain ID: '],
  ['nonce', 'Nonce: '],
  ['issuedAt', 'Issued At: '],
  ['expirationTime', 'Expiration Time: '],
  ['notBefore', 'Not Before: '],
  ['requestId', 'Request ID: '],
] as const;

type FieldName = (typeof FIELDS)[number][0];

const RESOURCES = 'Resources:';
const RESOURCE = '- ';

/**
 * Reads a sign-in text line by line, in time linear in its length. Every line must be understood: nothing
 * may follow the last field, and no field may appear twice.
 * @returns undefined when the text is not a sign-in message.
 */
export function parseSiwxMessage(text: string): SiwxMessage | undefined {
  const lines = text.split('\n');
  const [first = '', address = '', blank] = lines;
  const account = ACCOUNTS.find(name => first.endsWith(opening(name)));
  if (!account || blank !== '') return undefined;

  const start = fieldsStart(lines);
  const rest = readFields(lines, start);
  return (
    rest && {
      account,
      domain: first.slice(0, -opening(account).length),
      address,
      statement: start === 5 ? lines[3] : undefined,
      ...rest,
    }
  );
}

/**
 * With a statement the fields begin on the sixth line. Without one, EIP-4361 leaves two blank lines and the
 * Solana form one.
 */
function fieldsStart(lines: readonly string[]): 3 | 4 | 5 {
  if (lines[4] === '') return 5;
  return lines[3] === '' ? 4 : 3;
}

type Fields = Pick<SiwxMessage, FieldName | 'resources'>;

function readFields(lines: readonly string[], start: number): Fields | undefined {
  const found: Fields = {
    uri: undefined,
    version: undefined,
    chainId: undefined,
    nonce: undefined,
    issuedAt: undefined,
    expirationTime: undefined,
    notBefore: undefined,
    requestId: undefined,
    resources: undefined,
  };
  let next = 0;
  for (let index = start; index < lines.length; index += 1) {
    const line = lines[index] ?? '';
    if (line === RESOURCES) {
      const resources = lines.slice(index + 1);
      if (!resources.every(resource => resource.startsWith(RESOURCE))) return undefined;
      return { ...found, resources: resources.map(resource => resource.slice(RESOURCE.length)) };
    }
    const position = FIELDS.findIndex(([, label], field) => field >= next && line.startsWith(label));
    const field = FIELDS[position];
    if (!field) return undefined;
    found[field[0]] = line.slice(field[1].length);
    next = position + 1;
  }
  return found;
}

/** Writes the text that wallets sign for these fields. */
export function buildSiwxMessage(message: SiwxMessage): string {
  const lines = [`${message.domain}${opening(message.account)}`, message.address, ''];
  if (message.statement) lines.push(message.statement, '');
  else if (message.account === 'Ethereum') lines.push('');
  for (const [name, label] of FIELDS) {
    const value = message[name];
    if (value !== undefined) lines.push(`${label}${value}`);
  }
  if (message.resources?.length) {
    lines.push(RESOURCES, ...message.resources.map(resource => `${RESOURCE}${resource}`));
  }
  return lines.join('\n');
}
