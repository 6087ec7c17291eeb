import type { Address } from '@solana/kit';
import type { Bank } from './bank.ts';
import { addressParam, type Config, configParam, type Params, toAddress, withContext } from './params.ts';
import { invalidParams } from './rpc-error.ts';
import { showAccount } from './show-account.ts';
import { readTokenState, TOKEN_PROGRAMS, type TokenState, uiTokenAmount } from './tokens.ts';

const MAX_MULTIPLE_ACCOUNTS = 100;

/** Reads of accounts. Every commitment shows the newest state: this chain has no forks to go back to. */
export const accountMethods = {
  getAccountInfo(bank: Bank, params: Params) {
    const address = addressParam(params, 0);
    const config = configParam(params, 1);
    return withContext(bank, config, find(bank, address, config));
  },

  getMultipleAccounts(bank: Bank, params: Params) {
    const addresses = params[0];
    const config = configParam(params, 1);
    if (!Array.isArray(addresses)) throw invalidParams('Invalid params: expected a list of addresses.');
    if (addresses.length > MAX_MULTIPLE_ACCOUNTS) {
      throw invalidParams(`Too many inputs provided; max ${MAX_MULTIPLE_ACCOUNTS}`);
    }
    return withContext(
      bank,
      config,
      addresses.map(address => find(bank, toAddress(address), config)),
    );
  },

  getBalance(bank: Bank, params: Params) {
    const lamports = bank.account(addressParam(params, 0))?.lamports() ?? 0n;
    return withContext(bank, configParam(params, 1), lamports);
  },

  getTokenAccountBalance(bank: Bank, params: Params) {
    const state = tokenState(bank, addressParam(params, 0));
    if (state?.kind !== 'account') throw invalidParams('Invalid param: could not find account');
    const { amount, mint } = state.token;
    return withContext(bank, configParam(params, 1), uiTokenAmount(amount, bank.decimalsOf(mint)));
  },

  getTokenSupply(bank: Bank, params: Params) {
    const state = tokenState(bank, addressParam(params, 0));
    if (state?.kind !== 'mint') throw invalidParams('Invalid param: could not find mint');
    return withContext(bank, configParam(params, 1), uiTokenAmount(state.mint.supply, state.mint.decimals));
  },

  getTokenAccountsByOwner(bank: Bank, params: Params) {
    const owner = addressParam(params, 0);
    const filter = configParam(params, 1);
    const config = configParam(params, 2);
    const programs = filter['programId'] === undefined ? TOKEN_PROGRAMS : [toAddress(filter['programId'])];
    const mint = filter['mint'] === undefined ? undefined : toAddress(filter['mint']);
    if (mint === undefined && filter['programId'] === undefined) {
      throw invalidParams('Invalid params: expected mint or programId.');
    }
    const found = programs
      .filter(program => TOKEN_PROGRAMS.includes(program))
      .flatMap(program => bank.accountsOf(program as Address))
      .filter(({ account }) => {
        const state = readTokenState(account);
        if (state?.kind !== 'account' || state.token.owner !== owner) return false;
        return mint === undefined || state.token.mint === mint;
      });
    return withContext(
      bank,
      config,
      found.map(({ address, account }) => ({ pubkey: address, account: showAccount(bank, account, config) })),
    );
  },
};

function find(bank: Bank, address: string, config: Config) {
  const account = bank.account(address);
  return account ? showAccount(bank, account, config) : null;
}

function tokenState(bank: Bank, address: string): TokenState | undefined {
  const account = bank.account(address);
  return account && readTokenState(account);
}
