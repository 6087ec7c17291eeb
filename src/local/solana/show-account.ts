import { isNone, type Option } from '@solana/kit';
import { encodeBase58 } from '../../lib/svm-address.ts';
import type { Bank } from './bank.ts';
import type { VmAccount } from './litesvm.ts';
import type { Config } from './params.ts';
import { invalidParams } from './rpc-error.ts';
import { ownerOf, readTokenState, type TokenState, uiTokenAmount } from './tokens.ts';

const ENCODINGS = ['base58', 'base64', 'jsonParsed'] as const;

/** base58 takes time that grows with the square of the length. */
const MAX_BASE58_BYTES = 128;

const ACCOUNT_STATES = ['uninitialized', 'initialized', 'frozen'];

/** An account in the shape and encoding that the caller asks for. */
export function showAccount(bank: Bank, account: VmAccount, config: Config) {
  const data = account.data();
  return {
    data: showData(bank, account, data, config),
    executable: account.executable(),
    lamports: account.lamports(),
    owner: ownerOf(account),
    rentEpoch: account.rentEpoch(),
    space: data.length,
  };
}

function showData(bank: Bank, account: VmAccount, data: Uint8Array, config: Config) {
  const encoding =
    config['encoding'] === undefined ? 'base58' : ENCODINGS.find(e => e === config['encoding']);
  if (!encoding) throw invalidParams(`encoding must be one of ${ENCODINGS.join(', ')}`);
  if (encoding === 'jsonParsed') {
    const state = readTokenState(account);
    if (state) return showToken(bank, state, account, data.length);
  }
  const wanted = slice(data, config['dataSlice']);
  if (encoding !== 'base58') return [Buffer.from(wanted).toString('base64'), 'base64'];
  if (wanted.length > MAX_BASE58_BYTES) {
    throw invalidParams(
      'Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding.',
    );
  }
  const text = encodeBase58(wanted);
  // Without a wish the oldest form is given, which is a bare string.
  return config['encoding'] === undefined ? text : [text, 'base58'];
}

function slice(data: Uint8Array, wish: unknown): Uint8Array {
  if (wish === undefined || wish === null) return data;
  const { offset, length } = wish as { offset?: unknown; length?: unknown };
  if (typeof offset !== 'number' || typeof length !== 'number' || offset < 0 || length < 0) {
    throw invalidParams('Invalid params: dataSlice needs offset and length.');
  }
  return data.subarray(offset, offset + length);
}

function showToken(bank: Bank, state: TokenState, account: VmAccount, space: number) {
  const program = ownerOf(account).startsWith('Tokenz') ? 'spl-token-2022' : 'spl-token';
  if (state.kind === 'mint') {
    const { mint } = state;
    const info = {
      decimals: mint.decimals,
      freezeAuthority: unwrap(mint.freezeAuthority),
      isInitialized: mint.isInitialized,
      mintAuthority: unwrap(mint.mintAuthority),
      supply: mint.supply.toString(),
    };
    return { program, parsed: { info, type: 'mint' }, space };
  }
  const { token } = state;
  const delegate = unwrap(token.delegate);
  const decimals = bank.decimalsOf(token.mint);
  const info = {
    isNative: !isNone(token.isNative),
    mint: token.mint,
    owner: token.owner,
    state: ACCOUNT_STATES[token.state],
    tokenAmount: uiTokenAmount(token.amount, decimals),
    ...(delegate === null
      ? {}
      : { delegate, delegatedAmount: uiTokenAmount(token.delegatedAmount, decimals) }),
  };
  return { program, parsed: { info, type: 'account' }, space };
}

function unwrap<T>(option: Option<T>): T | null {
  return isNone(option) ? null : option.value;
}
