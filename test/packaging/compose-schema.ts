import { type Static, Type } from 'typebox';

const closed = { additionalProperties: false };
const Name = Type.String({ pattern: '^[a-z][a-z0-9_]*$' });
const Duration = Type.String({ pattern: '^[0-9]+(s|m)$' });
const Names = Type.Array(Name, { minItems: 1, uniqueItems: true });

const HealthCheck = Type.Union([
  Type.Object({ disable: Type.Literal(true) }, closed),
  Type.Object(
    {
      test: Type.Array(Type.String(), { minItems: 2 }),
      interval: Duration,
      timeout: Duration,
      retries: Type.Integer({ minimum: 1 }),
      start_period: Duration,
    },
    closed,
  ),
]);

const Service = Type.Object(
  {
    image: Type.Optional(Type.String({ pattern: '^[a-z]+:[0-9]+$' })),
    build: Type.Optional(Type.Literal('.')),
    command: Type.Optional(Type.Array(Type.String(), { minItems: 1 })),
    environment: Type.Record(Type.String({ pattern: '^[A-Z][A-Z0-9_]*$' }), Type.String()),
    secrets: Names,
    volumes: Type.Optional(Type.Array(Type.String({ pattern: '^[a-z]+:/' }))),
    networks: Names,
    ports: Type.Optional(Type.Array(Type.String())),
    depends_on: Type.Optional(
      Type.Record(
        Name,
        Type.Object({ condition: Type.Enum(['service_healthy', 'service_completed_successfully']) }, closed),
      ),
    ),
    healthcheck: Type.Optional(HealthCheck),
    restart: Type.Enum(['no', 'unless-stopped']),
    stop_grace_period: Type.Optional(Duration),
    read_only: Type.Optional(Type.Boolean()),
    cap_drop: Type.Optional(Type.Array(Type.String())),
    security_opt: Type.Optional(Type.Array(Type.String())),
  },
  closed,
);

/** The part of the Compose file format that docker-compose.yml uses; a misspelt key is refused. */
export const ComposeFile = Type.Object(
  {
    name: Type.String(),
    services: Type.Record(Name, Service),
    networks: Type.Record(Name, Type.Object({ internal: Type.Optional(Type.Boolean()) }, closed)),
    volumes: Type.Record(Name, Type.Object({}, closed)),
    secrets: Type.Record(
      Name,
      Type.Object({ file: Type.String({ pattern: '^\\./secrets/[a-z_]+$' }) }, closed),
    ),
  },
  closed,
);

export type ComposeFile = Static<typeof ComposeFile>;
