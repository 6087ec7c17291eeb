/** A model as the catalogue shows it. */
export interface CatalogueModel {
  id: string;
  /** When Dria listed it, in Unix seconds. */
  created: number;
  /**
   * Upstreams that serve it. Dria's own count is of machines in its network; its command-line tool spreads
   * prompts over models by it, and 0 would leave a model out.
   */
  nodes: number;
}

/**
 * The models of `GET /v1/models`. Dria publishes no list; this holds the one that its pages use in every
 * example (docs.dria.co/docs/api/chat-completions). A model without a price is not served, so a model is
 * added here together with its price.
 */
export const MODELS: readonly CatalogueModel[] = [{ id: 'qwen3.5:9b', created: 1_773_360_000, nodes: 1 }];
